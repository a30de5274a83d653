"""The only SQL. Functions take a connection, so that a flow decides what is one transaction."""
