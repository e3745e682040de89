"""What was heard, told to programs: one schema, a queue on disk, and what delivers it by web hook and MQTT."""
