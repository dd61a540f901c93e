/// How a session with another host was protected, for the log.
package struct SessionSecurity: Hashable, Sendable {
    /// Which policy decided, such as `dane` or `mta-sts`.
    package var policy: String
    /// The version of TLS; nil for clear text.
    package var version: String?
    /// By what the host had shown that it's the one that was meant, such as `pkix` or `dane-ee`; nil where it hadn't.
    package var proof: String?

    package init(policy: String, version: String?, proof: String?) {
        self.policy = policy
        self.version = version
        self.proof = proof
    }
}
