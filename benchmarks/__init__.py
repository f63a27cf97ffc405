"""Programs, peers and the runner that times them."""
