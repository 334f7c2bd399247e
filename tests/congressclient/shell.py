"""Runs commands of OpenStack's client one after the other, as its program `openstack` would: each start takes seconds.

A line in is the list of arguments as JSON; a line out is {"out", "err", "code"}.
"""

import contextlib
import io
import json
import sys

from openstackclient.shell import OpenStackShell


def run(arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = OpenStackShell().run(arguments)
        except SystemExit as end:
            code = end.code
    return {"out": out.getvalue(), "err": err.getvalue(), "code": code}


for line in sys.stdin:
    print(json.dumps(run(json.loads(line))), flush=True)
