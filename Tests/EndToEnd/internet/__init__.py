"""A pretended internet: name servers for a signed root, top-level zones, domains and every kind of trouble.

It lives in a network namespace of its own, where public addresses lie on the loopback interface, so that servers have
port 53 and resolvers need no special setting. `world` says what there is, `signing` and `keys` sign it, `processes` runs
NSD, BIND and Knot, `wire` holds name servers written in Python, and `resolvers` the resolvers that are compared.
"""
