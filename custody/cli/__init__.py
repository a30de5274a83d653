"""The command line's nouns, one module each."""

import os

# gRPC reads it when it is imported; what fails at a handshake is said once, in our words.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
