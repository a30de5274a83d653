"""A Solana devnet: standard JSON-RPC over the real runtime, durable, with a faucet."""
