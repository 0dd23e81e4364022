"""One way to fetch what is behind an address that anybody may have written: pictures, shop pages."""
