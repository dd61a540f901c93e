import NIOCore
import TLS

/// `[tls]`: the certificates that servers show, and how they speak TLS.
package struct TLSConfiguration: Sendable {
    /// Where private keys for signatures of mail are, a directory for each domain, relative to the instance directory.
    package static let dkimDirectory = "etc/dkim"
    /// Where certificates and their keys are unless other files are named, relative to the instance directory.
    package static let directory = "etc/tls"

    /// A certificate and its key.
    package struct Pair: Equatable, Sendable {
        /// That of `[tls.pairs.NAME]`; `default` for the one of `[tls]` itself.
        package var name: String
        /// PEM, the chain from the server's certificate on.
        package var certificate: String
        package var privateKey: String

        package static let standardName = "default"

        package init(name: String, certificate: String, privateKey: String) {
            self.name = name
            self.certificate = certificate
            self.privateKey = privateKey
        }

        /// Where the response of the authority's OCSP server (RFC 6960, DER) may lie: `NAME.ocsp` beside `NAME.pem`.
        package var ocsp: String {
            guard let dot = certificate.lastIndex(of: "."), !certificate[dot...].contains("/") else {
                return certificate + ".ocsp"
            }
            return certificate[..<dot] + ".ocsp"
        }
    }

    /// The first one is for clients that name no server, or one that no certificate is for.
    package var pairs: [Pair]
    package var minimumVersion: TLSVersion
    /// Suites of TLS 1.2 in OpenSSL's words; those of TLS 1.3 are all good.
    package var ciphers: String
    /// How long a client may resume a session.
    package var ticketLifetime: TimeAmount
    /// PEM, the authorities whose certificates users log in by; nil for none.
    package var clientAuthorities: String?

    /// Of the first pair.
    package var certificate: String { pairs[0].certificate }
    package var privateKey: String { pairs[0].privateKey }

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        pairs = [
            Pair(
                name: Pair.standardName,
                certificate: try table.string("certificate", default: "\(Self.directory)/certificate.pem"),
                privateKey: try table.string("private-key", default: "\(Self.directory)/private-key.pem")
            )
        ]
        let more = try table.table("pairs")
        for name in more.keys {
            guard name != Pair.standardName else { throw more.error(name, "that is the name of [tls] itself") }
            let pair = try more.table(name)
            pairs.append(
                Pair(
                    name: name,
                    certificate: try pair.string("certificate", default: "\(Self.directory)/\(name).pem"),
                    privateKey: try pair.string("private-key", default: "\(Self.directory)/\(name).key")
                )
            )
        }
        minimumVersion = try table.choice("minimum-version", default: .v12)
        ciphers = try table.string("ciphers", default: TLSContext.standardCiphers)
        guard TLSContext.areCiphers(ciphers) else { throw table.error("ciphers", "no suite that servers can have") }
        ticketLifetime = try table.duration("ticket-lifetime", default: .hours(12), in: .zero ... .hours(168))
        clientAuthorities = try table.string("client-authorities")
    }
}

extension TLSServerSettings {
    /// What the configuration says.
    package init(_ configuration: TLSConfiguration) {
        self.init()
        minimum = configuration.minimumVersion
        ciphers = configuration.ciphers
        ticketLifetime = Int(configuration.ticketLifetime.nanoseconds / 1_000_000_000)
    }
}
