import Cryptography

/// The hash functions that SCRAM is used with here (RFC 5802, RFC 7677).
package enum ScramHash: Sendable, Hashable, CaseIterable {
    case sha1
    case sha256

    var function: HashFunction {
        switch self {
        case .sha1: .sha1
        case .sha256: .sha256
        }
    }
}

/// One of the four SCRAM mechanisms.
package struct ScramMechanism: Sendable, Hashable {
    package let hash: ScramHash
    /// Whether the login is bound to the TLS connection.
    package let isPlus: Bool

    package init(_ hash: ScramHash, isPlus: Bool) {
        self.hash = hash
        self.isPlus = isPlus
    }
}

/// What a TLS connection can be recognised by at both ends, where nobody sits in between (RFC 5929, RFC 9266).
package struct ChannelBindings: Equatable, Sendable {
    /// `tls-exporter`: a secret of this connection alone.
    package var exporter: [UInt8]?
    /// `tls-server-end-point`: the hash of the server's certificate.
    package var serverEndPoint: [UInt8]?

    package init(exporter: [UInt8]? = nil, serverEndPoint: [UInt8]? = nil) {
        self.exporter = exporter
        self.serverEndPoint = serverEndPoint
    }

    package var isEmpty: Bool { exporter == nil && serverEndPoint == nil }

    subscript(name: String) -> [UInt8]? {
        switch name {
        case "tls-exporter": exporter
        case "tls-server-end-point": serverEndPoint
        default: nil
        }
    }
}

/// Why a message of SCRAM is not accepted.
package enum ScramFault: Error, Equatable {
    case malformed
    /// The client asks for an extension that must be understood and isn't.
    case extensionNotSupported
    /// The client was made to believe that the server has no -PLUS: somebody sits in between (RFC 5802 §6).
    case downgraded
    /// The mechanism doesn't go with the binding that the client uses or doesn't use.
    case bindingNotSupported
    /// The client's connection is not ours.
    case bindingDiffers
    /// The nonce is not the one of this exchange.
    case nonceDiffers
}
