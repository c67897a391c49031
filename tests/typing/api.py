"""A host and a site plugin as people write them. Never run: mypy reads it, and complains where the API grows vague."""

from __future__ import annotations

from typing import assert_type

from encoder_hookspecs import (
    Answered,
    ArchiveReceipt,
    CompletedJob,
    EncoderManager,
    GiveUp,
    JobNotRecorded,
    LazyPinAttempt,
    LazyPinFailure,
    LocalFallback,
    LocalPin,
    PluginFailure,
    PluginInfo,
    Proof,
    RetryIn,
    ask_plugins,
    hookimpl,
)
from encoder_hookspecs.testing import RecordingHost, a_failure, a_job, check_plugin


class Site:
    @hookimpl
    def on_job_complete(self, job: CompletedJob) -> None:
        assert_type(job.size_mb, float | None)

    @hookimpl
    def on_lazy_pin_attempt_failed(self, attempt: LazyPinAttempt) -> RetryIn | GiveUp | None:
        return RetryIn(seconds=60) if attempt.number < 3 else None

    @hookimpl(trylast=True)
    def on_lazy_pin_failed(self, failure: LazyPinFailure) -> LocalPin | None:
        return LocalPin(cid=failure.job.cid, node="http://10.0.0.7:5001", proof=Proof.PINNED)

    @hookimpl
    def on_local_fallback(self, fallback: LocalFallback) -> ArchiveReceipt | None:
        return ArchiveReceipt(path="/var/lib/site/pins.jsonl")


def report(failure: PluginFailure) -> None:
    assert_type(failure.error, BaseException | None)


def host(job: CompletedJob, failure: LazyPinFailure, attempt: LazyPinAttempt, fallback: LocalFallback) -> None:
    manager = EncoderManager(block=["noisy"], report=report, environ={})
    assert_type(manager.load_entry_points(), list[PluginInfo])
    assert_type(manager.register(Site(), "site"), PluginInfo)
    manager.on_encoder_start()
    try:
        manager.on_job_complete(job)
    except JobNotRecorded as error:
        print(f"will submit again: {error}")
    assert_type(manager.on_lazy_pin_attempt_failed(attempt), RetryIn | GiveUp | None)
    assert_type(manager.on_lazy_pin_failed(failure), LocalPin | None)
    assert_type(manager.on_local_fallback(fallback), ArchiveReceipt | None)
    manager.on_encoder_stop(timeout=5)
    manager.on_job_complete("job-123")  # type: ignore[arg-type]
    manager.on_lazy_pin_failed(job)  # type: ignore[arg-type]


def worker(manager: EncoderManager, failure: LazyPinFailure) -> None:
    answer = ask_plugins(
        manager.pluggy, "on_lazy_pin_failed", expect=LocalPin, limit=30, report=report, failure=failure
    )
    assert_type(answer, Answered[LocalPin] | None)


def test_of_an_author() -> None:
    assert_type(check_plugin(Site()), list[str])
    recording = RecordingHost(Site())
    recording.on_job_complete(a_job(size_mb=3))
    assert_type(recording.on_lazy_pin_failed(a_failure()), LocalPin | None)
    assert_type(recording.jobs, list[CompletedJob])
