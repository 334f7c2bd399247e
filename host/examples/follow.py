#!/usr/bin/env python3
"""Follows a table of a Busway host and prints it as it is now, whenever it changed: one JSON list a line.

    follow.py http://127.0.0.1:1789 SERVICE TABLE

Nothing is missed and nothing comes twice, over lost connections and restarts too: that is all that is to be done for it.
"""
import http.client, json, sys, time, urllib.parse, urllib.request

def events(url, position):
    """The events of one connection: (kind, data)."""
    headers = {"Last-Event-ID": "%d:%d" % position} if position else {}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=45) as lines:
        kind = data = None
        for line in lines:
            field, _, value = line.decode().rstrip("\r\n").partition(": ")
            if field == "event": kind = value
            elif field == "data": data = json.loads(value)
            elif not field and data is not None:
                yield kind, data
                data = None
    raise ConnectionError("the stream ended")

def follow(url):
    """The table's rows, or None when it is gone, each time they changed."""
    position, rows, parts, key = None, [], [], str  # what is held, and where it stands
    while True:
        try:
            for kind, event in events(url, position):
                if kind == "reset":  # the host can't go on from there: a snapshot comes
                    position, parts = None, []
                elif kind == "snapshot":
                    if "key" in event:  # the first part of perhaps several
                        names, parts = event["key"], []
                        key = lambda row, names=names: json.dumps([row[n] for n in names] if names else row)
                    parts += event["rows"]
                    if event["more"]: continue
                    rows, position = {key(row): row for row in parts}, (event["epoch"], event["to"])
                    yield list(rows.values())
                elif kind == "step":
                    if position != (event["epoch"], event["from"]): raise ValueError("a step is missing")
                    for row in event["removed"] + [pair["old"] for pair in event["updated"]]: del rows[key(row)]
                    for row in event["added"] + [pair["new"] for pair in event["updated"]]: rows[key(row)] = row
                    position = (event["epoch"], event["to"])
                    yield list(rows.values())
                elif kind == "gone":  # it may come back, as a snapshot
                    position = None
                    yield None
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            if isinstance(error, (ValueError, KeyError)): position = None  # what is held is not to be trusted
            print("%s: %s; trying again" % (url, error), file=sys.stderr, flush=True)
            time.sleep(0.5)

if __name__ == "__main__":
    host, service, table = sys.argv[1:]
    path = "/v1/services/%s/tables/%s/stream" % tuple(urllib.parse.quote(name, safe="") for name in (service, table))
    for state in follow(host + path):
        print(json.dumps(state), flush=True)
