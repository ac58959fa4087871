"""Runs every call of the provider's Python SDK against the simulator at sys.argv[1]; prints "ok FACT" per fact and stops at the first failure."""

import json
import sys
import urllib.request

import anthropic

URL = sys.argv[1]
client = anthropic.Anthropic(api_key="test-key", base_url=URL, max_retries=0)
HELLO = {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello, Claude"}]}


def ok(fact, holds):
    if not holds:
        sys.exit("failed " + fact)
    print("ok " + fact, flush=True)


def control(path, body):
    request = urllib.request.Request(URL + "/_simulator" + path, data=json.dumps(body).encode(), method="POST")
    urllib.request.urlopen(request).read()


def fails(kind, action):
    try:
        action()
    except kind:
        return True
    return False


def create(count=1):
    return client.messages.batches.create(requests=[{"custom_id": "r%d" % index, "params": HELLO} for index in range(count)])


batch = create(3)
ok("create", batch.processing_status == "in_progress" and batch.request_counts.processing == 3)
ok("retrieve", client.messages.batches.retrieve(batch.id).processing_status == "ended")
for _ in range(4):
    create()
ok("list pages by itself", len(list(client.messages.batches.list(limit=2))) == 5)
ok("results", sorted(row.custom_id for row in client.messages.batches.results(batch.id)) == ["r0", "r1", "r2"])
ok("cancel", client.messages.batches.cancel(create().id).processing_status in ("canceling", "ended"))
ok("delete", client.messages.batches.delete(batch.id).type == "message_batch_deleted")
ok("not found", fails(anthropic.NotFoundError, lambda: client.messages.batches.retrieve(batch.id)))
ok("bad request", fails(anthropic.BadRequestError, lambda: client.messages.batches.create(requests=[])))
stranger = anthropic.Anthropic(api_key="wrong", base_url=URL, max_retries=0)
ok("authentication", fails(anthropic.AuthenticationError, lambda: stranger.messages.batches.list()))
control("/faults", {"faults": [{"fault": "rate_limit", "count": 1}]})
ok("rate limit", fails(anthropic.RateLimitError, create))
control("/faults", {"faults": [{"fault": "status", "status": 529, "count": 1}]})
ok("overloaded", fails(anthropic.InternalServerError, create))
message = client.messages.create(**HELLO)
ok("message", message.role == "assistant" and message.usage.output_tokens > 0)
with client.messages.stream(**HELLO) as stream:
    text = "".join(stream.text_stream)
ok("streamed message", text == message.content[0].text)
count = client.messages.count_tokens(model=HELLO["model"], messages=HELLO["messages"])
ok("count_tokens", count.input_tokens == message.usage.input_tokens)
ok("models", client.models.retrieve("claude-haiku-4-5").id == "claude-haiku-4-5-20251001")
