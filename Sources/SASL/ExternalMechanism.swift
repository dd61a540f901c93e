/// EXTERNAL (RFC 4422 appendix A): the client has shown who it is outside of SASL, here by its TLS certificate.
package struct ExternalMechanism: SASLMechanism {
    package init() {}

    package var firstChallenge: [UInt8] { [] }

    /// The identity to act as, or nothing for the certificate's own.
    package mutating func respond(to response: [UInt8]) -> SASLStep {
        if response.isEmpty { return .evidence(.certificate(authorization: nil)) }
        guard let authorization = SASLText.name(response) else { return .malformed }
        return .evidence(.certificate(authorization: authorization))
    }
}
