"""Calls methods of OpenStack's client as a program that uses it as a library does: `library.py URL [TOKEN]`.

A line in is a list of the method's name and its arguments as JSON; a line out is {"answer"}, or {"error", "status"}.
"""

import json
import sys

from congressclient.v1.client import Client
from keystoneauth1 import exceptions, noauth, session, token_endpoint

url, *token = sys.argv[1:]
auth = token_endpoint.Token(url, token[0]) if token else noauth.NoAuth(endpoint=url)
client = Client(session=session.Session(auth=auth), service_type="policy")


def call(method, arguments):
    try:
        return {"answer": getattr(client, method)(*arguments)}
    except exceptions.HttpError as error:
        return {"error": error.message, "status": error.http_status}


for line in sys.stdin:
    method, *arguments = json.loads(line)
    print(json.dumps(call(method, arguments)), flush=True)
