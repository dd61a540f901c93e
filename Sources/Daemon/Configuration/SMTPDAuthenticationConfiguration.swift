import NIOCore

/// `[smtpd.authentication]`: SPF, DKIM, ARC and DMARC of strangers' mail.
package struct SMTPDAuthenticationConfiguration: Sendable {
    /// Whether they are looked at.
    package var isOn: Bool
    /// Our name in Authentication-Results; nil for the host's.
    package var authservID: String?
    /// Whether what the author's domain asks for is done to mail that fails DMARC.
    package var followsDMARC: Bool
    /// Whether mail is refused whose client SPF says `fail` of.
    package var refusesSPFFailures: Bool
    /// Whether mail has to wait whose author's records can't be looked up now.
    package var defersInTrouble: Bool
    /// Domains whose ARC seals are believed.
    package var trustedSealers: [String]
    /// How long answers are waited for once the message is there.
    package var timeout: TimeAmount

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        isOn = try table.boolean("enabled", default: true)
        authservID = try table.string("authserv-id")
        if let name = authservID, name.isEmpty || !name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x3B }) {
            throw table.error("authserv-id", "\"\(name)\" is not a name such as mx.example.org")
        }
        followsDMARC = try table.boolean("follow-dmarc", default: true)
        refusesSPFFailures = try table.boolean("refuse-spf-fail", default: false)
        defersInTrouble = try table.boolean("defer-in-trouble", default: false)
        trustedSealers = try table.strings("trusted-arc-sealers")
        timeout = try table.duration("timeout", default: .seconds(20), in: .seconds(1) ... .minutes(5))
    }
}
