"""The one place with sockets, and how fast it may be used."""
