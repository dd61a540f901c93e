/// Why an address, a path or its parameters could not be read.
package enum EnvelopeError: Error, Hashable, Sendable {
    /// Not the grammar of RFC 5321 §4.1.2.
    case malformedAddress
    /// More than 64 octets (RFC 5321 §4.5.3.1.1).
    case localPartTooLong
    /// More than 255 octets, or a label of more than 63 (RFC 5321 §4.5.3.1.2).
    case domainTooLong
    /// More than 256 octets with its brackets (RFC 5321 §4.5.3.1.3).
    case pathTooLong
    /// The value of this parameter is not what its RFC says, or it came twice.
    case malformedParameter(String)
    /// A parameter that nothing here knows.
    case unknownParameter(String)
}
