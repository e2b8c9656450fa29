"""What is asked to choose and to judge: how likes are held out, and the slices of questions about them."""
