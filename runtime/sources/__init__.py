"""What a stream is read from: addresses and files, their packets, frames and times."""
