// The service on loopback alone; the program that comes with it listens on every interface.
const http = require("http")
const { setup } = require("mock-ipfs-pinning-service")

const [port, token] = process.argv.slice(2)
setup({ token: token || null, loglevel: "error" }).then((service) => http.createServer(service).listen(Number(port), "127.0.0.1"))
