"""What in a report needs a person: a sentence each, which says what is wrong and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoder_pin_plugin.operate.no_supernode import what_then
from encoder_pin_plugin.operate.output import count, duration, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from encoder_pin_plugin.operate.report import Report

SILENT = 60.0
"""Seconds after which a worker whose loop does not turn is said to hang."""


def needs_a_person(report: Report) -> list[str]:
    """The sentences, the most urgent first; empty where all is well."""
    parts = (_workers(report), _fallbacks(report), _nodes(report), _jobs(report), _archive(report))
    return [*report.cannot_record, *report.trouble, *(text for part in parts for text in part)]


def _workers(report: Report) -> Iterator[str]:
    if not report.workers and report.waiting:
        jobs = count(report.waiting, "job waits", "jobs wait")
        yield f'nobody works on this data folder, and {jobs}: run "encoder-pin work", or start its service'
    for worker in report.workers:
        if worker.silent_seconds > SILENT:
            yield (
                f"worker {worker.name} lives, but has not got on for {duration(worker.silent_seconds)}: look at its log"
                " (logs/encoder.log), then restart it; no job is lost by that"
            )


def _fallbacks(report: Report) -> Iterator[str]:
    jobs = report.jobs
    if jobs is not None and jobs.fallbacks_failing:
        yield (
            f"the local fallback of {count(jobs.fallbacks_failing, 'job')} fails, and is tried again for ever: put"
            f" right what the last one says, {one_line(jobs.fallback_error or 'nothing', 400)}"
        )


def _nodes(report: Report) -> Iterator[str]:
    nodes = report.nodes
    if nodes is None:
        return
    if nodes.supernode is None:
        then = what_then(report.fallback_after, local_fallback=report.local_fallback is not False)
        todo = "set THREESPEAK_IPFS_ENDPOINT, or USE_CLUSTER_FOR_PINS and its endpoint"
        yield f"no supernode is configured, {then}: {todo}"
    elif not nodes.supernode.reachable:
        then = "jobs fall back by themselves" if report.local_fallback else "jobs wait, the local fallback is disabled"
        yield f"the supernode does not answer, {then}; tell who runs it: {one_line(nodes.supernode.detail, 300)}"
    if nodes.are_one:
        yield (
            "the supernode is the local node itself: what is pinned there is in one place only, and counts as done; set"
            " THREESPEAK_IPFS_ENDPOINT to another node"
        )
    if not nodes.local.reachable:
        yield (
            "the local node does not answer: without it nothing can be held or fall back; start it, or correct"
            f" IPFS_API_ADDR: {one_line(nodes.local.detail, 300)}"
        )


def _jobs(report: Report) -> Iterator[str]:
    if report.jobs is not None and report.jobs.overdue:
        jobs, late = count(report.jobs.overdue, "job is", "jobs are"), duration(report.fallback_after)
        hint = (
            "ENABLE_LOCAL_FALLBACK is false, so they wait for the supernode; " if report.local_fallback is False else ""
        )
        yield f"{jobs} open for longer than {late}: {hint}encoder-pin jobs --state overdue shows why"
    if report.rejected:
        yield (
            f"{count(report.rejected, 'job file was', 'job files were')} rejected: encoder-pin jobs --state rejected"
            " shows why; correct and retry them, or delete them"
        )


def _archive(report: Report) -> Iterator[str]:
    archive = report.archive
    if archive is not None and archive.bad_lines:
        yield (
            f"{count(archive.bad_lines, 'line')} of {archive.path} cannot be read: look with encoder-pin archive check,"
            " then encoder-pin archive repair sets them aside"
        )
