"""Whole files on any filesystem: paths, leases, object stores."""
