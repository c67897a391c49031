"""What the pinning service adapter makes of a service that follows the specification, and of the ones that do not."""

import time
from collections.abc import Iterator, Sequence

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.nodes.base import Answer, Limits
from encoder_pin_plugin.nodes.pinning_service import PinningService
from encoder_pin_plugin.settings import Credentials, Secret
from tests.fakes.kubo_lies import LIES
from tests.fakes.kubo_node import Talk
from tests.fakes.pinning_service import DELEGATE, FakePinningService
from tests.fakes.service import send_json
from tests.nodes.conftest import failure

CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
OTHER = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"
QUICK = Limits(stall=1, total=8)
WIRE = sorted(name for name, lie in LIES.items() if not lie.only)


@pytest.fixture
def service() -> Iterator[FakePinningService]:
    with FakePinningService() as service:
        yield service


@pytest.fixture
def node(service: FakePinningService) -> PinningService:
    return PinningService(service.url)


def many_cids(count: int) -> list[str]:
    return [CID[:-3] + "".join("abcdefgh"[(n >> shift) & 7] for shift in (0, 3, 6)) for n in range(count)]


class TestPinning:
    def test_looks_asks_and_waits(self, service: FakePinningService, node: PinningService) -> None:
        seen: list[int] = []
        node.pin(CID, name="job-1", limits=QUICK, progress=seen.append, meta={"job_id": "1"}, origins=[DELEGATE] * 30)
        (post,) = service.asked("POST /pins")
        assert post.headers["Content-Type"] == "application/json"
        assert post.json() == {
            "cid": CID,
            "name": "job-1",
            "meta": {"app": "encoder-pin", "job_id": "1"},
            "origins": [DELEGATE] * 20,
        }
        first = service.calls[0]
        assert (first.command, first.query["cid"]) == ("GET /pins", CID)
        assert first.query["status"] == "queued,pinning,pinned,failed"
        assert seen == sorted(seen)
        assert node.pinned([CID], names=True)[CID].name == "job-1"

    @pytest.mark.parametrize("becomes", [["queued", "pinned"], ["pinning", "pinned"], ["pinned"]])
    def test_takes_a_request_that_is_there_for_its_own(
        self, service: FakePinningService, node: PinningService, becomes: list[str]
    ) -> None:
        service.add(CID, becomes=becomes)
        node.pin(CID, limits=QUICK)
        assert not service.asked("POST /pins")

    def test_replaces_a_request_that_failed(self, service: FakePinningService, node: PinningService) -> None:
        service.add(CID, becomes=["failed"])
        node.pin(CID, limits=QUICK)
        assert [made["status"] for made in service.requests] == ["pinned"]
        assert len(service.asked("DELETE /pins/req-1")) == 1

    def test_does_not_withdraw_what_cluster_names_by_its_cid(
        self, service: FakePinningService, node: PinningService
    ) -> None:
        """Cluster's own service goes on trying after `failed`; posted again, the pin keeps every option it had."""
        service.add(
            CID, becomes=["failed", "failed", "queued", "pinned"], requestid=CID, name="theirs", meta={"a": "b"}
        )
        service.lie(lambda talk: send_json(talk, service._now(service.requests[0])), to="POST /pins")
        node.pin(CID, name="ours", limits=QUICK)
        assert not service.asked("DELETE")
        assert service.asked("POST /pins")[0].json() == {"cid": CID, "name": "theirs", "meta": {"a": "b"}}

    @pytest.mark.parametrize("accepted", [200, 201, 202])
    def test_any_success_is_one(self, accepted: int) -> None:
        with FakePinningService(accepted=accepted) as service:
            PinningService(service.url).pin(CID, limits=QUICK)

    def test_understands_the_other_spelling_and_missing_fields(
        self, service: FakePinningService, node: PinningService
    ) -> None:
        service.add(CID, becomes=["pinned"])
        answer = {"requestId": "req-1", "status": "queued", "pin": {"cid": CID}}
        service.lie(lambda talk: send_json(talk, answer), to="POST /pins")
        service.lie(lambda talk: send_json(talk, {"count": 0, "results": []}), to="GET /pins", times=1)
        node.pin(CID, limits=QUICK)

    def test_dials_the_delegates_and_survives_when_that_fails(self, service: FakePinningService) -> None:
        dialled: list[str] = []

        def dial(addresses: Sequence[str]) -> None:
            dialled.extend(addresses)
            raise OSError("no route to host")

        PinningService(service.url, dial=dial).pin(CID, limits=QUICK)
        assert dialled == [DELEGATE]

    @pytest.mark.parametrize(
        ("becomes", "reason"),
        [
            (["queued"], Reason.STALLED),
            (["a word of its own"], Reason.STALLED),
            ([""], Reason.STALLED),
            (["queued", "failed"], Reason.NODE_ERROR),
        ],
    )
    def test_ends_when_nothing_moves(self, becomes: list[str], reason: Reason) -> None:
        with FakePinningService(becomes=becomes) as service:
            error = failure(PinningService(service.url).pin, CID, limits=QUICK)
            assert error.reason is reason
            assert CID in str(error)
            assert "req-1" in str(error)

    def test_a_service_at_work_is_given_the_whole_time_and_no_more(self) -> None:
        with FakePinningService(becomes=["pinning"]) as service:
            error = failure(PinningService(service.url).pin, CID, limits=Limits(stall=0.2, total=1))
            assert error.reason is Reason.TIMEOUT

    def test_a_request_that_is_gone_is_no_pin(self, service: FakePinningService, node: PinningService) -> None:
        service.lie(lambda talk: send_json(talk, {"error": {"reason": "NOT_FOUND"}}, 404), to="GET /pins/")
        assert failure(node.pin, CID, limits=QUICK).reason is Reason.UNPROVED

    def test_a_request_that_turns_to_another_cid_is_no_pin(self, service: FakePinningService) -> None:
        other = {"requestid": "req-1", "status": "pinned", "pin": {"cid": OTHER}}
        service.lie(lambda talk: send_json(talk, other), to="GET /pins/")
        assert failure(PinningService(service.url).pin, CID, limits=QUICK).reason is Reason.UNPROVED

    def test_an_answer_about_another_cid_is_no_pin(self, service: FakePinningService, node: PinningService) -> None:
        other = {"requestid": "req-1", "status": "pinned", "pin": {"cid": OTHER}}
        service.lie(lambda talk: send_json(talk, other), to="POST /pins")
        assert failure(node.pin, CID, limits=QUICK).reason is Reason.BAD_REPLY

    @pytest.mark.parametrize("requestid", ["..", ".", "", "a/b", "x" * 300, 7, None])
    def test_a_requestid_that_leads_elsewhere_is_not_followed(
        self, service: FakePinningService, node: PinningService, requestid: object
    ) -> None:
        answer = {"requestid": requestid, "status": "pinned", "pin": {"cid": CID}}
        service.lie(lambda talk: send_json(talk, answer), to="POST /pins")
        assert failure(node.pin, CID, limits=QUICK).reason is Reason.BAD_REPLY


class TestLostAnswers:
    @pytest.mark.parametrize("how", ["cut", "html", "silence"])
    def test_a_request_whose_answer_was_lost_is_found_again(self, service: FakePinningService, how: str) -> None:
        def accept_and_lose(talk: Talk) -> None:
            service.add(CID)
            if how == "silence":
                talk.wait(3)
            elif how == "html":
                talk.send(504, "<html>gateway timeout</html>", "text/html")
            else:
                talk.cut()

        service.lie(accept_and_lose, to="POST /pins", times=1)
        PinningService(service.url, ask_seconds=1).pin(CID, limits=QUICK)
        assert len(service.requests) == 1
        assert len(service.asked("POST /pins")) == 1

    def test_one_that_was_not_taken_is_not_asked_again_by_itself(
        self, service: FakePinningService, node: PinningService
    ) -> None:
        service.lie("closed_at_once", to="POST /pins")
        assert failure(node.pin, CID, limits=QUICK).reason is Reason.CUT
        assert len(service.asked("POST /pins")) == 1

    def test_a_list_that_is_not_whole_is_no_reason_to_ask(
        self, service: FakePinningService, node: PinningService
    ) -> None:
        service.lie(lambda talk: send_json(talk, {"count": 3, "results": []}), to="GET /pins")
        assert failure(node.pin, CID, limits=QUICK).reason is Reason.BAD_REPLY
        assert not service.asked("POST /pins")
        assert node.pinned([CID])[CID].answer is Answer.UNKNOWN


class TestBusy:
    @pytest.mark.parametrize("status", [429, 503])
    def test_comes_back_when_the_service_wishes(
        self, service: FakePinningService, node: PinningService, status: int
    ) -> None:
        service.lie(lambda talk: talk.send(status, "busy", retry_after="1"), to="POST /pins", times=1)
        service.lie(lambda talk: talk.send(status, "busy", retry_after="1"), to="GET /pins", times=1)
        started = time.monotonic()
        node.pin(CID, limits=QUICK)
        assert time.monotonic() - started >= 2
        assert len(service.requests) == 1

    @pytest.mark.parametrize("wish", ["3600", "Tue, 24 Nov 2099 11:18:10 GMT", "-1", "soon", "9" * 400, ""])
    def test_does_not_wait_beyond_its_limits(
        self, service: FakePinningService, node: PinningService, wish: str
    ) -> None:
        service.lie(lambda talk: talk.send(429, "busy", retry_after=wish), to="POST /pins")
        started = time.monotonic()
        assert failure(node.pin, CID, limits=Limits(stall=1, total=3)).reason is Reason.NODE_ERROR
        assert time.monotonic() - started < 6

    def test_a_date_that_has_passed_is_a_short_wait(self, service: FakePinningService, node: PinningService) -> None:
        wish = "Tue, 24 Nov 2020 11:18:10 GMT"
        service.lie(lambda talk: talk.send(429, "busy", retry_after=wish), to="POST /pins", times=1)
        node.pin(CID, limits=QUICK)

    @pytest.mark.parametrize("lie", ["html_502", "too_many", "error_without_words"])
    def test_without_a_wish_it_is_the_callers_turn(
        self, service: FakePinningService, node: PinningService, lie: str
    ) -> None:
        service.lie(lie, to="POST /pins")
        failure(node.pin, CID, limits=QUICK)
        assert len(service.asked("POST /pins")) == 1

    def test_refusals_that_no_retry_mends(self, service: FakePinningService, node: PinningService) -> None:
        service.lie(
            lambda talk: send_json(talk, {"error": {"reason": "INSUFFICIENT_FUNDS", "details": "pay"}}, 409),
            to="POST /pins",
        )
        error = failure(node.pin, CID, limits=QUICK)
        assert "INSUFFICIENT_FUNDS pay" in str(error)


class TestAsking:
    def test_ten_cids_a_call(self, service: FakePinningService, node: PinningService) -> None:
        cids = many_cids(25)
        for cid in cids[:20]:
            service.add(cid, becomes=["pinned"])
        told = node.pinned(cids)
        assert [told[cid].answer for cid in cids] == [Answer.YES] * 20 + [Answer.NO] * 5
        assert [len(call.query["cid"].split(",")) for call in service.calls] == [10, 10, 5]

    def test_reads_every_page(self) -> None:
        cids = many_cids(10)
        with FakePinningService(longest_page=3) as service:
            for _ in range(4):
                for cid in cids:
                    service.add(cid, becomes=["failed"])
            service.requests[0]["status"] = "pinned"  # the oldest: on the last page
            told = PinningService(service.url).pinned(cids)
            assert told[cids[0]].yes
            assert {told[cid].answer for cid in cids[1:]} == {Answer.NO}
            assert len(service.calls) > 10

    def test_pages_that_never_end_leave_it_unknown(self, service: FakePinningService, node: PinningService) -> None:
        page = {"count": 10**9, "results": [service.add(OTHER)]}
        service.lie(lambda talk: send_json(talk, page), to="GET /pins")
        assert node.pinned([CID])[CID].answer is Answer.UNKNOWN
        assert len(service.calls) < 5

    @pytest.mark.parametrize(
        ("statuses", "answer"),
        [
            (["pinned"], Answer.YES),
            (["failed", "pinned"], Answer.YES),
            (["queued"], Answer.NO),
            (["pinning", "failed"], Answer.NO),
            (["Pinned"], Answer.UNKNOWN),
            (["archived"], Answer.UNKNOWN),
        ],
    )
    def test_reads_the_statuses(
        self, service: FakePinningService, node: PinningService, statuses: list[str], answer: Answer
    ) -> None:
        results = [{"requestid": f"r{n}", "status": status, "pin": {"cid": CID}} for n, status in enumerate(statuses)]
        service.lie(lambda talk: send_json(talk, {"count": len(results), "results": results}), to="GET /pins")
        assert node.pinned([CID])[CID].answer is answer

    @pytest.mark.parametrize("result", [None, 7, {}, {"requestid": "r"}, {"requestid": "r", "pin": {"cid": 7}}])
    def test_a_result_that_cannot_be_read_leaves_it_unknown(
        self, service: FakePinningService, node: PinningService, result: object
    ) -> None:
        service.lie(lambda talk: send_json(talk, {"count": 1, "results": [result]}), to="GET /pins")
        assert node.pinned([CID])[CID].answer is Answer.UNKNOWN

    def test_whole_is_always_unknown(self, node: PinningService) -> None:
        assert node.whole([CID])[CID].answer is Answer.UNKNOWN
        assert node.describe(CID) == (None, None)
        assert not node.on_this_machine

    def test_credentials_are_sent_and_never_shown(self) -> None:
        token = "t0ken-of-the-account"
        with FakePinningService(token=token) as service:
            PinningService(service.url, auth=Credentials("bearer", "", Secret(token))).pin(CID, limits=QUICK)
            error = failure(PinningService(service.url).ping)
            assert error.reason is Reason.NOT_ALLOWED
            assert "UNAUTHORIZED" in str(error)

    def test_ping_says_what_answers(self, node: PinningService) -> None:
        assert node.ping() == "pinning service (API 1.0)"


class TestRemoving:
    def test_withdraws_ours_and_leaves_the_rest(self, service: FakePinningService, node: PinningService) -> None:
        service.add(CID, name="somebody else's")
        node.submit(OTHER)
        service.requests[-1]["pin"]["cid"] = CID
        service.add(CID, name="encoder-pin")
        node.unpin(CID)
        node.unpin(CID)
        assert [made["pin"]["name"] for made in service.requests] == ["somebody else's"]

    def test_withdraws_the_request_that_is_named(self, service: FakePinningService, node: PinningService) -> None:
        service.add(CID, name="somebody else's")
        node.unpin(CID, requestid="req-1")
        node.unpin(CID, requestid="req-1")
        assert service.requests == []


@pytest.mark.parametrize("lie", WIRE)
def test_a_lie_is_unknown_and_no_pin(lie: str) -> None:
    with FakePinningService() as service:
        node = PinningService(service.url, ask_seconds=0.5)
        service.lie(lie)
        assert node.pinned([CID])[CID].answer is Answer.UNKNOWN
        error = failure(node.pin, CID, limits=Limits(stall=0.3, total=1.5))
        assert service.url in str(error)


@pytest.mark.parametrize("lie", WIRE)
def test_a_lie_about_the_request_alone_is_no_pin_either(lie: str) -> None:
    with FakePinningService() as service:
        service.lie(lie, to="GET /pins/")
        failure(PinningService(service.url, ask_seconds=0.5).pin, CID, limits=Limits(stall=0.3, total=1.5))
