"""The service's protocol: encodes requests and decodes replies, as pure functions over bytes without I/O."""
