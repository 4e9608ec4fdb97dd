"""What is shared at an object store: records under conditions, adapter sets, and what was fetched of them."""
