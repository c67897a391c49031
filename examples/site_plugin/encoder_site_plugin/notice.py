"""The notice that people get: one POST to a webhook, which may be slow, down or wrong without harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loguru import logger

if TYPE_CHECKING:
    from encoder_hookspecs import LocalFallback

TIMEOUT = (3.0, 5.0)
"""Seconds to connect, and to wait for the answer: less than PLUGIN_TIMEOUT, so that the worker never cuts us off."""


def send_notice(url: str, fallback: LocalFallback) -> bool:
    """Post a notice; returns whether it was taken. Never raises for what the other side does."""
    import requests  # the encoder's start need not pay for it

    job, failure = fallback.job, fallback.failure
    text = (
        f"{job.job_id}: kept on {fallback.local_pin.node} after {failure.attempts} failed attempts ({failure.reason})"
    )
    try:
        reply = requests.post(url, json={"content": text, "cid": job.cid, "job_id": job.job_id}, timeout=TIMEOUT)
        reply.raise_for_status()
    except requests.RequestException as error:
        logger.warning("no notice of job {} was sent: {}", job.job_id, type(error).__name__)
        return False
    return True
