"""What the Cluster adapter makes of a cluster that does what it should, and of one that does not."""

import time
from collections.abc import Iterator

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import Answer, DagSize, Limits, PinNode, Told, Whole
from encoder_pin_plugin.nodes.cluster import ClusterNode
from encoder_pin_plugin.nodes.kubo import KuboNode
from encoder_pin_plugin.settings import Credentials, Secret
from tests.fakes.cluster_peer import FakeClusterPeer
from tests.fakes.kubo_honest import Content
from tests.fakes.kubo_node import FakeKubo
from tests.fakes.service import send_json
from tests.nodes.conftest import failure

CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
OTHER = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"
QUICK = Limits(stall=1, total=8)
ORIGIN = "/ip4/127.0.0.1/tcp/4001/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN"


@pytest.fixture
def peer() -> Iterator[FakeClusterPeer]:
    with FakeClusterPeer(["peer-1", "peer-2", "peer-3"]) as peer:
        yield peer


@pytest.fixture
def node(peer: FakeClusterPeer) -> ClusterNode:
    return ClusterNode(peer.url, replication_min=2)


class TestPinning:
    def test_waits_until_enough_peers_hold_it(self, peer: FakeClusterPeer, node: ClusterNode) -> None:
        peer.becomes("pin_queued", "pinning", "pinned")
        seen: list[int] = []
        node.pin(CID, name="job-1", limits=QUICK, progress=seen.append)
        assert seen[-1] == 2
        assert seen == sorted(seen)
        assert node.pinned([CID], names=True)[CID].name == "job-1"

    def test_posts_all_that_it_knows_about_the_job(self, peer: FakeClusterPeer, node: ClusterNode) -> None:
        node.pin(CID, name="job & 1", limits=QUICK, meta={"job_id": "ä=1"}, origins=[ORIGIN, "/ip4/127.0.0.1/tcp/1"])
        (post,) = peer.asked("POST /pins/")
        assert post.query == {
            "name": "job & 1",
            "replication-min": "2",
            "replication-max": "2",
            "origins": ORIGIN,
            "meta-app": "encoder-pin",
            "meta-job_id": "ä=1",
        }

    def test_leaves_a_pin_that_is_there_as_it_is(self, peer: FakeClusterPeer) -> None:
        ClusterNode(peer.url, replication_min=3).submit(CID, name="theirs", meta={"job_id": "theirs"})
        before = dict(peer.pinset[CID])
        ClusterNode(peer.url, replication_min=2).pin(CID, name="ours", limits=QUICK)
        assert len(peer.asked("POST /pins/")) == 1
        assert peer.pinset[CID] == before

    def test_raises_a_pin_with_fewer_copies_and_keeps_the_rest_of_it(self, peer: FakeClusterPeer) -> None:
        ClusterNode(peer.url, replication_min=1).submit(CID, name="theirs", meta={"job_id": "7"}, origins=[ORIGIN])
        assert ClusterNode(peer.url, replication_min=2).pinned([CID])[CID].answer is Answer.NO
        ClusterNode(peer.url, replication_min=2).pin(CID, name="ours", limits=QUICK)
        wanted = peer.pinset[CID]
        assert (wanted["name"], wanted["metadata"]["job_id"], wanted["origins"]) == ("theirs", "7", [ORIGIN])
        assert (wanted["replication_factor_min"], wanted["replication_factor_max"]) == (2, 2)

    def test_a_pin_that_would_expire_is_made_to_stay(self, peer: FakeClusterPeer, node: ClusterNode) -> None:
        node.submit(CID, name="theirs")
        peer.pinset[CID]["expire_at"] = "2027-01-01T00:00:00Z"
        node.pin(CID, limits=QUICK)
        assert peer.pinset[CID]["expire_at"] == "0001-01-01T00:00:00Z"
        assert peer.pinset[CID]["name"] == "theirs"

    def test_a_pin_of_others_that_is_to_expire_is_none_until_it_is_made_to_stay(
        self, peer: FakeClusterPeer, node: ClusterNode
    ) -> None:
        node.submit(CID, name="theirs")
        del peer.pinset[CID]["metadata"]["app"]
        assert node.pinned([CID])[CID].yes
        peer.pinset[CID]["expire_at"] = "2027-01-01T00:00:00Z"
        told = node.pinned([CID])[CID]
        assert (told.answer, told.detail) == (Answer.NO, "pinned, but only until 2027-01-01T00:00:00Z")
        node.pin(CID, name="ours", limits=QUICK)
        assert node.pinned([CID], names=True)[CID] == Told(answer=Answer.YES, name="theirs")

    def test_about_pins_of_our_own_no_more_is_asked(self, peer: FakeClusterPeer, node: ClusterNode) -> None:
        node.submit(CID)
        asked = len(peer.asked("GET /allocations/"))
        assert node.pinned([CID])[CID].yes
        assert len(peer.asked("GET /allocations/")) == asked

    def test_has_an_error_recovered_once_and_waits_on(self, peer: FakeClusterPeer, node: ClusterNode) -> None:
        peer.becomes("pin_error: context canceled", "pin_error: context canceled", "pinning", "pinned")
        node.pin(CID, limits=QUICK)
        assert peer.recovered == [CID]

    @pytest.mark.parametrize(
        ("status", "reason"),
        [
            ("pin_error: context canceled", Reason.STALLED),
            ("pin_error: write: no space left on device", Reason.NODE_FULL),
            ("pin_error: some other fault", Reason.NODE_ERROR),
            ("pin_queued", Reason.STALLED),
            ("unexpectedly_unpinned", Reason.STALLED),
            ("cluster_error: failed to dial", Reason.STALLED),
            ("undefined", Reason.STALLED),
            ("a word of the future", Reason.STALLED),
            ("remote", Reason.STALLED),
        ],
    )
    def test_ends_when_nothing_moves(
        self, peer: FakeClusterPeer, node: ClusterNode, status: str, reason: Reason
    ) -> None:
        peer.becomes(status)
        error = failure(node.pin, CID, limits=QUICK)
        assert error.reason is reason
        assert peer.url in str(error)
        assert CID in str(error)
        assert "0 of 2 copies" in str(error)

    def test_a_peer_at_work_is_given_the_whole_time_and_no_more(self, peer: FakeClusterPeer, node: ClusterNode) -> None:
        peer.becomes("pinning")
        started = time.monotonic()
        assert failure(node.pin, CID, limits=Limits(stall=1.0, total=1.5)).reason is Reason.TIMEOUT
        assert time.monotonic() - started > 1.4

    def test_goes_on_when_one_question_fails(self, peer: FakeClusterPeer, node: ClusterNode) -> None:
        peer.lie("html_502", to=f"GET /pins/{CID}", times=2)
        peer.lie("cut_chunk", to=f"GET /pins/{CID}", times=1)
        node.pin(CID, limits=QUICK)

    def test_too_many_copies_are_a_setting_to_correct(self, peer: FakeClusterPeer) -> None:
        error = failure(ClusterNode(peer.url, replication_min=4).pin, CID, limits=QUICK)
        assert error.reason is Reason.NOT_ALLOWED
        assert "Needed at least: 4" in str(error)

    def test_a_yes_about_another_cid_is_no_yes(self, peer: FakeClusterPeer, node: ClusterNode) -> None:
        peer.lie(lambda talk: send_json(talk, {"cid": OTHER, "name": ""}), to="POST /pins/")
        assert failure(node.pin, CID, limits=QUICK).reason is Reason.BAD_REPLY

    def test_a_busy_cluster_is_asked_again_when_it_wishes(self, peer: FakeClusterPeer, node: ClusterNode) -> None:
        peer.lie(lambda talk: talk.send(429, "slow down", retry_after="1"), to="POST /pins/", times=1)
        started = time.monotonic()
        node.submit(CID)
        assert time.monotonic() - started >= 1
        assert len(peer.asked("POST /pins/")) == 2


class TestAsking:
    def test_many_cids_take_few_calls(self, peer: FakeClusterPeer, node: ClusterNode) -> None:
        cids = [CID[:-3] + "".join("abcdefgh"[(n >> shift) & 7] for shift in (0, 3, 6)) for n in range(250)]
        told = node.pinned(cids)
        assert {answer.answer for answer in told.values()} == {Answer.NO}
        assert list(told) == cids
        assert [len(call.query["cids"].split(",")) for call in peer.asked("GET /pins")] == [100, 100, 50]

    def test_halves_what_is_too_long_for_a_header(self, peer: FakeClusterPeer, node: ClusterNode) -> None:
        cids = [f"b{'a' * 100}{'abcdefgh'[n // 8]}{'abcdefgh'[n % 8]}" for n in range(64)] + [
            f"b{'a' * 101}{'abcdefgh'[n // 8]}{'abcdefgh'[n % 8]}" for n in range(36)
        ]
        told = node.pinned(cids)
        assert len(told) == 100
        assert {answer.answer for answer in told.values()} == {Answer.NO}

    def test_one_that_is_no_cid_leaves_the_rest_an_answer(self, peer: FakeClusterPeer, node: ClusterNode) -> None:
        node.pin(CID, limits=QUICK)
        told = node.pinned([CID, "nonsense", "a/../b?c=d&e", OTHER])
        assert [answer.answer.value for answer in told.values()] == ["yes", "unknown", "unknown", "no"]
        assert "error decoding Cid" in told["nonsense"].detail

    def test_a_cid_that_the_answer_leaves_out_is_unknown(self, peer: FakeClusterPeer, node: ClusterNode) -> None:
        peer.lie(lambda talk: talk.send(204, b""), to="GET /pins")
        assert node.pinned([CID])[CID].answer is Answer.UNKNOWN

    def test_the_old_form_of_a_cid_is_understood(self, peer: FakeClusterPeer, node: ClusterNode) -> None:
        entry = {"peername": "a", "status": "pinned"}
        peer.lie(
            lambda talk: send_json(talk, {"cid": {"/": CID}, "peer_map": {"a": entry, "b": entry}}), to="GET /pins"
        )
        assert node.pinned([CID])[CID].yes

    @pytest.mark.parametrize(
        ("peer_map", "answer"),
        [
            ({"a": "pinned", "b": "pinned", "c": "remote"}, Answer.YES),
            ({"a": "pinned", "b": "remote", "c": "remote"}, Answer.NO),
            ({"a": "pinned", "b": "cluster_error: failed to dial"}, Answer.UNKNOWN),
            ({"a": "pinned", "b": "undefined"}, Answer.UNKNOWN),
            ({"a": "pinned", "b": ""}, Answer.UNKNOWN),
            ({"a": "unpinned", "b": "cluster_error"}, Answer.NO),
            ({"a": "pinned", "b": "pinning"}, Answer.NO),
            ({"a": "pinned", "b": "PINNED"}, Answer.UNKNOWN),
            ({"a": "pinned", "b": {"status": ["pinned"]}}, Answer.UNKNOWN),
            ({"a": "pinned", "b": "unexpectedly_unpinned"}, Answer.NO),
            ({"a": None, "b": 7, "c": [1]}, Answer.UNKNOWN),
            ({}, Answer.UNKNOWN),
        ],
    )
    def test_reads_the_peer_map(
        self, peer: FakeClusterPeer, node: ClusterNode, peer_map: dict[str, object], answer: Answer
    ) -> None:
        peer.say(CID, peer_map)
        assert node.pinned([CID])[CID].answer is answer

    @pytest.mark.parametrize("value", [None, "pinned", [1, 2], 7])
    def test_a_peer_map_that_is_none_is_unknown(self, peer: FakeClusterPeer, node: ClusterNode, value: object) -> None:
        peer.lie(lambda talk: send_json(talk, {"cid": CID, "peer_map": value}), to="GET /pins")
        assert node.pinned([CID])[CID].answer is Answer.UNKNOWN

    def test_a_pin_wanted_everywhere_needs_every_peer_or_the_quorum(self, peer: FakeClusterPeer) -> None:
        ClusterNode(peer.url).submit(CID)
        assert peer.pinset[CID]["replication_factor_min"] == -1
        assert ClusterNode(peer.url).pinned([CID])[CID].yes
        peer.say(CID, {"a": "pinned", "b": "pinned", "c": "pinning"})
        assert ClusterNode(peer.url).pinned([CID])[CID].answer is Answer.NO
        assert ClusterNode(peer.url, quorum=2).pinned([CID])[CID].yes

    def test_fewer_copies_than_chosen_peers_are_enough_where_the_pin_says_so(self, peer: FakeClusterPeer) -> None:
        ClusterNode(peer.url, replication_min=1, replication_max=3).submit(CID)
        peer.say(CID, {"peer-1": "pinned", "peer-2": "pin_queued", "peer-3": "pin_error: x"})
        assert ClusterNode(peer.url).pinned([CID])[CID].yes
        assert ClusterNode(peer.url, replication_min=2).pinned([CID])[CID].answer is Answer.NO

    def test_ping_names_software_and_version(self, node: ClusterNode) -> None:
        assert node.ping() == "ipfs-cluster 1.1.6"

    def test_credentials_are_sent_and_never_shown(self) -> None:
        secret = "s3cr3t-of-the-cluster"
        with FakeClusterPeer(token=secret) as peer:
            node = ClusterNode(peer.url, auth=Credentials("bearer", "", Secret(secret)))
            node.pin(CID, limits=QUICK)
            assert failure(ClusterNode(peer.url).pin, CID, limits=QUICK).reason is Reason.NOT_ALLOWED
            peer.lie(lambda talk: send_json(talk, {"code": 500, "message": f"bad {secret}!"}, 500))
            told = node.pinned([CID])[CID]
            assert told.answer is Answer.UNKNOWN
            assert "bad ***!" in told.detail
            assert secret not in f"{node!r} {told}"


class TestRemoving:
    def test_what_is_gone_is_no_error(self, peer: FakeClusterPeer, node: ClusterNode) -> None:
        node.pin(CID, limits=QUICK)
        node.unpin(CID)
        node.unpin(CID)
        assert node.pinned([CID])[CID].answer is Answer.NO

    def test_a_404_of_something_else_is_no_answer(self, peer: FakeClusterPeer, node: ClusterNode) -> None:
        peer.lie("not_found")
        assert failure(node.unpin, CID).reason is Reason.NOT_ALLOWED


class TestPushing:
    def test_a_car_is_sent_piece_by_piece(self, peer: FakeClusterPeer, node: ClusterNode) -> None:
        pieces = [b"x" * 100_000, b"", b"CAR OF ", CID.encode(), b" ENDS", b"y" * 10]
        node.push_car(CID, iter(pieces), limits=QUICK, name="job-1", meta={"job_id": "1"})
        (add,) = peer.asked("POST /add")
        assert add.query["format"] == "car"
        assert (add.query["name"], add.query["replication-min"], add.query["meta-job_id"]) == ("job-1", "2", "1")
        assert b"".join(pieces) in add.body
        assert node.pinned([CID])[CID].yes

    def test_keeps_the_options_of_a_pin_that_is_there(self, peer: FakeClusterPeer, node: ClusterNode) -> None:
        node.submit(CID, name="theirs", meta={"job_id": "7"})
        node.push_car(CID, [f"CAR OF {CID} ENDS".encode()], limits=QUICK, name="ours")
        assert peer.pinset[CID]["name"] == "theirs"
        assert peer.pinset[CID]["metadata"]["job_id"] == "7"

    def test_an_empty_200_is_a_failure_in_the_words_of_the_trailer(
        self, peer: FakeClusterPeer, node: ClusterNode
    ) -> None:
        error = failure(node.push_car, CID, [b"half a CAR"], limits=QUICK)
        assert "unexpected EOF" in str(error)
        peer.lie("empty_200", to="POST /add")
        assert failure(node.push_car, CID, [b"half a CAR"], limits=QUICK).reason is Reason.BAD_REPLY

    def test_another_cid_added_is_a_failure(self, peer: FakeClusterPeer, node: ClusterNode) -> None:
        error = failure(node.push_car, CID, [f"CAR OF {OTHER} ENDS".encode()], limits=QUICK)
        assert error.reason is Reason.BAD_REPLY
        assert OTHER in str(error)

    @pytest.mark.parametrize("fault", [OSError("the disk fails"), NodeError("cut", Reason.CUT), ValueError("odd")])
    def test_a_fault_of_the_source_passes(self, node: ClusterNode, fault: Exception) -> None:
        def car() -> Iterator[bytes]:
            yield b"x"
            raise fault

        with pytest.raises(type(fault)) as caught:
            node.push_car(CID, car(), limits=QUICK)
        assert caught.value is fault


class TestWhole:
    class Kubo:
        """A peer's Kubo node that answers as it is told."""

        on_this_machine = True

        def __init__(self, *answers: Answer) -> None:
            self.answers, self.asked = list(answers), 0

        def whole(self, cids: list[str]) -> dict[str, Whole]:
            self.asked += 1
            answer = self.answers.pop(0)
            dag = DagSize(blocks=4, size=6153) if answer is Answer.YES else None
            return {cid: Whole(answer=answer, dag=dag, detail=answer.value) for cid in cids}

        def describe(self, cid: str) -> tuple[DagSize, str]:
            return DagSize(blocks=4, size=6153), "directory"

    def cluster(self, url: str, **kubos: object) -> ClusterNode:
        named: dict[str, PinNode] = {name.replace("_", "-"): kubo for name, kubo in kubos.items()}  # type: ignore[misc]
        return ClusterNode(url, replication_min=2, peers=named)

    def test_is_unknown_without_the_peers_nodes(self, node: ClusterNode) -> None:
        assert node.whole([CID])[CID].answer is Answer.UNKNOWN
        assert not node.on_this_machine

    @pytest.mark.parametrize(
        ("first", "second", "answer"),
        [
            (Answer.YES, Answer.YES, Answer.YES),
            (Answer.YES, Answer.NO, Answer.NO),
            (Answer.YES, Answer.UNKNOWN, Answer.UNKNOWN),
            (Answer.NO, Answer.UNKNOWN, Answer.NO),
        ],
    )
    def test_counts_the_copies_that_are_whole(
        self, peer: FakeClusterPeer, first: Answer, second: Answer, answer: Answer
    ) -> None:
        node = self.cluster(peer.url, peer_1=self.Kubo(first), peer_2=self.Kubo(second))
        node.submit(CID)
        whole = node.whole([CID])[CID]
        assert whole.answer is answer
        assert (whole.dag is not None) == whole.yes
        assert node.on_this_machine

    def test_a_holder_that_cannot_be_asked_leaves_it_open(self, peer: FakeClusterPeer) -> None:
        node = self.cluster(peer.url, peer_1=self.Kubo(Answer.YES))
        node.submit(CID)
        assert node.whole([CID])[CID].answer is Answer.UNKNOWN
        assert node.describe(CID) == (DagSize(blocks=4, size=6153), "directory")

    def test_each_node_is_asked_once_for_many(self, peer: FakeClusterPeer) -> None:
        kubo = self.Kubo(Answer.YES)
        node = ClusterNode(peer.url, replication_min=1, peers={"kubo-of-peer-1": kubo})  # type: ignore[dict-item]
        for cid in (CID, OTHER):
            node.submit(cid)
        assert all(whole.yes for whole in node.whole([CID, OTHER]).values())
        assert kubo.asked == 1

    @pytest.mark.parametrize(
        ("third", "answer"), [((), Answer.UNKNOWN), ((Answer.YES,), Answer.YES), ((Answer.NO,), Answer.NO)]
    )
    def test_two_peers_in_front_of_one_node_are_one_whole_copy(self, third: tuple[Answer], answer: Answer) -> None:
        with FakeClusterPeer(["peer-1", "peer-2", "peer-3"]) as peer:
            peer.kubos |= {"peer-1": "one", "peer-2": "one", "peer-3": "other"}
            peer.say(CID, dict.fromkeys(peer.peers, "pinned"))
            asked = {"peer_3": self.Kubo(*third)} if third else {}
            node = self.cluster(peer.url, peer_1=self.Kubo(Answer.YES), peer_2=self.Kubo(Answer.YES), **asked)
            node.submit(CID)
            assert node.pinned([CID])[CID].yes
            assert node.whole([CID])[CID].answer is answer

    def test_the_kubo_node_of_another_peer_proves_nothing(self, peer: FakeClusterPeer) -> None:
        with FakeKubo() as one, FakeKubo() as other:
            one.content[CID] = other.content[CID] = Content()
            peer.kubos |= {"peer-1": f"12D3KooWFake{one.port}", "peer-2": f"12D3KooWFake{other.port}"}
            for second, answer in ((one, Answer.UNKNOWN), (other, Answer.YES)):
                node = self.cluster(peer.url, peer_1=KuboNode(one.url), peer_2=KuboNode(second.url))
                node.submit(CID)
                whole = node.whole([CID])[CID]
                assert (whole.answer, f"{one.url} is the Kubo node" in whole.detail) == (answer, second is one)
