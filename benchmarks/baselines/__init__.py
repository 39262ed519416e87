"""What the service is compared with: applications as they are usually written, and constants."""
