"""What custody and signer agree on: statements, approvals, policy, address book, verdicts.

Pure: values and bytes in, a verdict out. No I/O, no clock (time is a parameter), no private key.
"""
