"""What the property tester cannot know: which machine is whose, and what the box shows at present."""

import itertools
import os
import re

import schemathesis


@schemathesis.hook.apply_to(method="POST", path="/v1/beacon-nodes/tests")
def before_call(context, case, kwargs):
    """The box connects to the URL that it is given: whatever could be somebody else's becomes one of this machine."""
    url = case.body.get("url") if isinstance(case.body, dict) else None
    if isinstance(url, str) and url.strip().lower().startswith(("http:", "https:")):
        case.body = {**case.body, "url": NOBODY}


@schemathesis.hook("before_call").apply_to(method="PUT", path="/v1/configuration")
def name_the_present_configuration(context, case, kwargs):
    """No guess hits the ETag, and behind it the rest would never be asked. Only dry runs get it: the box is not to move."""
    etag = os.environ.get("HOLDFAST_ETAG")
    if etag and case.headers and "If-Match" in case.headers and str((case.query or {}).get("dryRun")).lower() == "true":
        case.headers["If-Match"] = etag


@schemathesis.hook("before_call")
def take_another_key(context, case, kwargs):
    """The tester names most requests by one key, and the box would answer that it was used for another request."""
    if case.headers and re.fullmatch("[!-~]{1,64}", case.headers.get("Idempotency-Key") or ""):
        case.headers["Idempotency-Key"] = f"key-{next(KEYS)}"


KEYS = itertools.count()
NOBODY = "http://127.0.0.1:9/"
