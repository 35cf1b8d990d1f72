"""Files on any filesystem: paths, files that appear complete or not at all, leases, object stores."""
