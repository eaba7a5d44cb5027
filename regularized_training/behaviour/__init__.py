"""What people answer to images, and networks beside them."""
