import Network
import SASL
import TLS

extension FrontClient {
    /// The mechanisms by which the client may log in now, as it's told. The one place that says so:
    ///
    /// - nothing where somebody on the way could listen: what comes after the login is as secret as the password;
    /// - SCRAM where authd has what it takes (`login.scram`), and -PLUS with TLS;
    /// - tokens where a provider is configured;
    /// - EXTERNAL for a client that has shown a certificate of one of our authorities.
    package var mechanisms: [SASLMechanismName] {
        guard mayLogIn else { return [] }
        return settings.mechanisms.filter { mechanism in
            switch mechanism.need {
            case .password: true
            case .scram(let scram):
                authority.offersScram && (!scram.isPlus || !tlsBindings.isEmpty)
            case .token: settings.tokens != nil
            case .certificate: !clientCertificate.isEmpty
            }
        }
    }

    /// Whether a user name and a password may be sent now, by whatever command.
    package var takesPasswords: Bool { mayLogIn && settings.mechanisms.contains(.plain) }

    /// What a SCRAM login can be bound to, where -PLUS is offered.
    var bindings: ChannelBindings {
        let isPlus: (SASLMechanismName) -> Bool = {
            if case .scram(let scram) = $0.need { scram.isPlus } else { false }
        }
        return settings.mechanisms.contains(where: isPlus) ? tlsBindings : ChannelBindings()
    }

    private var tlsBindings: ChannelBindings {
        guard let bindings = connection.tls?.channelBindings else { return ChannelBindings() }
        return ChannelBindings(exporter: bindings.exporter, serverEndPoint: bindings.serverEndPoint)
    }

    /// The certificate by which the client has made its connection, and those behind it; empty for none that counts.
    var clientCertificate: [[UInt8]] { connection.tls?.clientCertificates ?? [] }
}
