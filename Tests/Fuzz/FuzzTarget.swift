import Glibc

/// Something that is given octets which nobody has vetted. It fails by trapping, by a memory error, by `demand`, or by
/// taking too long.
struct FuzzTarget: Sendable {
    let name: String
    /// The longest input that libFuzzer makes. Octets.
    let maximum: Int
    let run: @Sendable (UnsafeRawBufferPointer) -> Void

    init(_ name: String, maximum: Int = 8192, run: @escaping @Sendable (UnsafeRawBufferPointer) -> Void) {
        self.name = name
        self.maximum = maximum
        self.run = run
    }

    /// The target that the environment names. libFuzzer's main function knows its own arguments only, and passes them on
    /// to the processes that it starts.
    static let chosen: FuzzTarget = {
        let name = getenv("MARTLET_FUZZ_TARGET").map { String(cString: $0) } ?? ""
        guard let target = fuzzTargets.first(where: { $0.name == name }) else {
            for target in fuzzTargets { print(target.name, target.maximum) }
            exit(name == "--list" ? 0 : 64)
        }
        return target
    }()
}

/// Ends the program as a finding unless what should always hold does.
func demand(_ holds: Bool, _ what: @autoclosure () -> String) {
    if !holds { fatalError(what()) }
}

/// libFuzzer calls this first.
@_cdecl("LLVMFuzzerInitialize") func initialize(_ count: UnsafePointer<CInt>, _ arguments: OpaquePointer) -> CInt {
    _ = FuzzTarget.chosen
    return 0
}

/// libFuzzer calls this with each input.
@_cdecl("LLVMFuzzerTestOneInput") func testOneInput(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    FuzzTarget.chosen.run(UnsafeRawBufferPointer(start: data, count: size))
    return 0
}
