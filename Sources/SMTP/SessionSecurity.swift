/// How a session with another host was protected, for the log.
package struct SessionSecurity: Hashable, Sendable {
    /// Which policy decided, such as `dane` or `mta-sts`.
    package var policy: String
    /// The version of TLS; nil for clear text.
    package var version: String?
    /// Whether the host had shown that it's the one that was meant.
    package var isVerified: Bool

    package init(policy: String, version: String?, isVerified: Bool) {
        self.policy = policy
        self.version = version
        self.isVerified = isVerified
    }
}
