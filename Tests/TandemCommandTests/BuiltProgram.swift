import Testing

/// Tests that start servers. One after the other: each waits for several processes, and more of them at a time would only wait longer.
@Suite("The built program", .serialized)
enum BuiltProgram {}
