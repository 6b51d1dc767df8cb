# SPDX-License-Identifier: BSD-3-Clause
"""pyclient: redis-py as the tests want it, the same with every version of it.

Since version 6 it sends a request again by itself when the connection breaks, up to three times: a test would not see the
break, and the checker would take what happened twice for a lost update. Here nothing is sent again.
"""

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

import certs
from resp import Raw


def py_client(port, **options):
    if Raw.tls:
        options = {"ssl": True, "ssl_ca_certs": certs.shared().path("ca.crt"), "ssl_check_hostname": False, **options}
    # By address: a system without /etc/hosts does not know the name localhost.
    return redis.Redis(host="127.0.0.1", port=port, retry=Retry(NoBackoff(), 0), **options)
