#if canImport(Glibc)
import Glibc
#endif

/// Files that a test makes.
package enum TestFile {
    /// - Throws: what the system says.
    package static func write(_ text: String, to path: String) throws {
        guard let file = fopen(path, "w") else { throw TestFileError(number: errno) }
        defer { fclose(file) }
        guard fputs(text, file) >= 0 else { throw TestFileError(number: errno) }
    }
}

package struct TestFileError: Error {
    let number: CInt
}
