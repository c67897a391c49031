"""What our site does differently: its own retry policy, a notice on each local fallback, a second record of it.

Everything else stays with the defaults: a hook that returns None has only added something.

    SITE_WEBHOOK_URL   where notices go; none are sent without it
    SITE_RECORDS       folder of the second records (default: site-records)
"""

from encoder_site_plugin.notice import send_notice
from encoder_site_plugin.plugin import SitePlugin, plugin
from encoder_site_plugin.records import keep_record

__all__ = ["SitePlugin", "keep_record", "plugin", "send_notice"]
