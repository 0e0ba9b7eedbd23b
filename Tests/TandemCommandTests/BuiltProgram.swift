import Testing

/// Tests that start servers. One after the other: each waits for several processes, and more of them at a time would only wait longer.
///
/// A program that does not end would never be missed otherwise, hence the limit.
@Suite("The built program", .serialized, .timeLimit(.minutes(5)))
enum BuiltProgram {}
