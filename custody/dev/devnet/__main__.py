"""`python -m custody.dev.devnet`."""

from custody.dev.devnet.server import main

main()
