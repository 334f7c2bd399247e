"""Publishes an event of every type of a host's catalogue with the CloudEvents project's own SDK, in each mode of its HTTP
binding, and reads each back from the stream and from the history with the same. Prints what it did as a line of JSON."""

import http.client
import json
import queue
import sys
import threading
from datetime import datetime, timedelta, timezone
from urllib.parse import quote, urlsplit

from cloudevents.core.bindings import http as binding
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

PATIENCE = 30
STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
SAMPLES = {"text": "say \"hi\", ü", "integer": -(2**53) + 1, "number": 0.1, "boolean": True, "texts": ["a", "b,c"],
           "any": {"a": [None, 1]}}
host = urlsplit(sys.argv[1]).netloc


def ask(method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(host, timeout=PATIENCE)
    connection.request(method, path, body=body, headers=headers or {})
    answer = connection.getresponse()
    read = json.loads(answer.read())
    connection.close()
    return answer.status, read


def send(message):
    return ask("POST", "/v1/events", message.body, message.headers)


def follow(path):
    """The events of a stream, parsed, as they come. It is open when this returns."""
    connection = http.client.HTTPConnection(host, timeout=PATIENCE)
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    events = queue.Queue()

    def read():
        kind, data = None, ""
        for line in answer:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                data += value
            elif not name and data:
                headers = {"content-type": STRUCTURED}
                event = binding.from_http_event(binding.HTTPMessage(headers=headers, body=data.encode()))
                events.put(event if kind == "event" else kind)
                data = ""

    threading.Thread(target=read, daemon=True).start()
    return events


def event_of(one, number, mode):
    data = {}
    for field in one["fields"]:
        data[field["name"]] = list(field["values"])[-1] if field["kind"] == "one_of" else SAMPLES[field["kind"]]
    time = datetime(2026, 1, 31, 12, tzinfo=timezone.utc) + timedelta(seconds=number, microseconds=123)
    return CloudEvent({
        "type": one["type"], "source": "/tests/ü", "id": f"{mode}-{number}", "subject": f"origin.{number}", "time": time,
        "datacontenttype": "application/json", "dataschema": one["schema"]["$id"], "userid": "me", "count": 7,
        "description": "100% of \"it\", ü 😀",
    }, data)


def parts(event):
    """What must be the same: in the binary mode all but the time is text."""
    attributes = {name: value if name == "time" else str(value) for name, value in event.get_attributes().items()}
    attributes.pop("buswayposition", None)
    return attributes, event.get_data()


def main():
    types = ask("GET", "/v1/events/types")[1]["results"]
    real = [one for one in types if one["role"] == "event"]
    everything, first = follow("/v1/events/stream"), follow(f"/v1/events/stream?type={quote(real[0]['type'])}")
    sent = {}
    for number, one in enumerate(real):
        for mode, write in [("structured", binding.to_structured_event), ("binary", binding.to_binary_event)]:
            event = event_of(one, number, mode)
            status, receipt = send(write(event))
            listeners = 2 if number == 0 else 1
            assert (status, receipt["id"], receipt["listeners"]) == (202, event.get_id(), listeners), (status, receipt)
            sent[event.get_id()] = event
    batch = [event_of(one, number, "batch") for number, one in enumerate(real)]
    body = b"[" + b",".join(JSONFormat().write(event) for event in batch) + b"]"
    status, answer = ask("POST", "/v1/events", body, {"content-type": BATCH})
    assert status == 202, answer
    assert [receipt["id"] for receipt in answer["results"]] == [event.get_id() for event in batch]
    sent.update((event.get_id(), event) for event in batch)

    for event in sent.values():
        heard = everything.get(timeout=PATIENCE)
        assert parts(heard) == parts(event), (parts(heard), parts(event))
    for mode in ["structured", "binary", "batch"]:
        assert first.get(timeout=PATIENCE).get_id() == f"{mode}-0"
    for number, one in enumerate(real):
        kept = ask("GET", f"/v1/events?type={quote(one['type'])}&origin=origin.{number}")[1]["events"]
        kept = [JSONFormat().read(None, json.dumps(event)) for event in kept]
        assert [event.get_id() for event in kept] == [f"{mode}-{number}" for mode in ["structured", "binary", "batch"]]
        for event in kept:
            assert parts(event) == parts(sent[event.get_id()])

    # What is said without its fields, or is no JSON, is none of them.
    refused = []
    for one in types:
        if one["role"] != "event":
            status, answer = send(binding.to_structured_event(event_of({**one, "fields": []}, 0, "refused")))
            assert (status, answer["error"]["error_data"]["kind"]) == (400, "NotPublished"), answer
            refused.append(one["type"])
    foreign = [({"datacontenttype": "text/plain"}, "hi ü"), ({"datacontenttype": "image/png"}, b"\x00\xff\x01"), ({}, None)]
    for number, (more, data) in enumerate(foreign):
        for mode, write in [("structured", binding.to_structured_event), ("binary", binding.to_binary_event)]:
            attributes = {"type": "com.example.door", "source": "/x", "id": f"{mode}{number}", "subject": "front", **more}
            event = CloudEvent(attributes, data)
            status, answer = send(write(event))
            assert status == 202, answer
            heard = everything.get(timeout=PATIENCE)
            assert parts(heard) == parts(event), (parts(heard), parts(event))
    print(json.dumps({"published": len(sent), "types": len(real), "refused": refused, "foreign": 2 * len(foreign)}))


main()
