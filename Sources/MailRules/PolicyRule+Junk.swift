extension PolicyRule {
    /// Whether it sends mail to Junk.
    package var sendsToJunk: Bool { action == .junk }
}
