/// PLAIN (RFC 4616): one message with user name and password.
package struct PlainMechanism: SASLMechanism {
    package init() {}

    package var firstChallenge: [UInt8] { [] }

    /// `[authzid] NUL authcid NUL passwd`. Acting for somebody else is not supported.
    package mutating func respond(to response: [UInt8]) -> SASLStep {
        let parts = response.split(separator: 0, maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, let credentials = PasswordCredentials(user: parts[1], password: parts[2]) else {
            return .malformed
        }
        guard parts[0].isEmpty || parts[0] == parts[1] else { return .malformed }
        return .evidence(.password(credentials))
    }
}
