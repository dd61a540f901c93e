import CIDN2

/// Domain names beyond ASCII (IDNA2008, RFC 5891), through libidn2.
package enum InternationalDomain {
    /// Octets of a name that are looked at; more than any that DNS can hold.
    private static let limit = 1000

    /// The name with A-labels (`xn--…`); nil for one that IDNA doesn't allow.
    package static func ascii(_ domain: some Collection<UInt8>) -> [UInt8]? {
        convert(domain) { idn2_lookup_u8($0, $1, CInt(IDN2_NFC_INPUT.rawValue | IDN2_NONTRANSITIONAL.rawValue)) }
    }

    /// The name with U-labels, for people; nil for one that has labels that are none.
    package static func unicode(_ domain: some Collection<UInt8>) -> [UInt8]? {
        convert(domain) { source, result in
            source.withMemoryRebound(to: CChar.self, capacity: limit + 1) { source in
                var text: UnsafeMutablePointer<CChar>?
                let status = idn2_to_unicode_8z8z(source, &text, 0)
                result.pointee = UnsafeMutableRawPointer(text)?.assumingMemoryBound(to: UInt8.self)
                return status
            }
        }
    }

    private static func convert(
        _ domain: some Collection<UInt8>,
        _ call: (UnsafePointer<UInt8>, UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>) -> CInt
    ) -> [UInt8]? {
        guard (1...limit).contains(domain.count), !domain.contains(0),
            String(validating: domain, as: UTF8.self) != nil
        else { return nil }
        var source = Array(domain)
        source += [UInt8](repeating: 0, count: limit + 1 - source.count)
        var result: UnsafeMutablePointer<UInt8>?
        let status = source.withUnsafeBufferPointer { source in source.baseAddress.map { call($0, &result) } }
        defer { if let result { idn2_free(result) } }
        guard status == CInt(IDN2_OK.rawValue), let result else { return nil }
        return Array(String(cString: result).utf8)
    }
}
