"""The methods of the papers, one file each, and what works with all of them."""
