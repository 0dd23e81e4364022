"""Products read from the pages of shops, by `reading.ShopPages`. Needs the extra `gateway`."""
