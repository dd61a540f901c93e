import COpenSSL

/// Keys from passwords (RFC 8018).
package enum PasswordDerivation {
    /// PBKDF2 with HMAC (RFC 8018 §5.2), one block of the function's length. Takes as long as the iterations make it: not for
    /// an event loop.
    ///
    /// - Returns: nil for no iterations, or where OpenSSL refuses.
    package static func pbkdf2(
        _ password: [UInt8],
        salt: [UInt8],
        iterations: Int,
        using function: HashFunction
    ) -> [UInt8]? {
        guard (1...Int(Int32.max)).contains(iterations) else { return nil }
        var key = [UInt8](repeating: 0, count: function.digestLength)
        let done = password.withUnsafeBytes { octets in
            PKCS5_PBKDF2_HMAC(
                octets.baseAddress?.assumingMemoryBound(to: CChar.self),
                Int32(clamping: octets.count),
                salt,
                Int32(clamping: salt.count),
                Int32(clamping: iterations),
                function.algorithm,
                Int32(clamping: key.count),
                &key
            )
        }
        guard done == 1 else {
            ERR_clear_error()
            return nil
        }
        return key
    }
}
