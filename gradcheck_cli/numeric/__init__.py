"""The numeric side: noise, steps, ladders and second opinions for every element."""
