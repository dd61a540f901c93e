import MIME

/// A file name that a stranger chose: always one of a file in the directory.
let fileNameTarget = FuzzTarget("file-name", maximum: 1024) { input in
    let name = SafeFileName.make(Array(input), fallback: "part-1")
    demand(!name.isEmpty && name.utf8.count <= 201, "no name, or a long one")
    demand(!name.utf8.contains { $0 < 0x20 || $0 == 0x7F || $0 == 0x2F || $0 == 0x5C }, "a directory or a control")
    demand(name.first != "." && name.first != "-", "a hidden file or an option")
}
