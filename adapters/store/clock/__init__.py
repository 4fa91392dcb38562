"""What happens by itself: schedules, their firings, the event push."""
