"""The isolated signer: frames in over a Unix socket, signatures out, and the last word on both.

Trusted, so it is small: no network, no gRPC, no chain SDK. `guard` tells the story of a job.
"""
