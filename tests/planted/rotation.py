"""Faults of the rotation of a server's key on disk."""

from __future__ import annotations

from .fault import Fault

FAULTS = [
    Fault(
        "the private key is replaced before the public one",
        "trust/rotation.py",
        "for file, source in ((public, written[1]), (private, written[0])):",
        "for file, source in ((private, written[0]), (public, written[1])):",
        "test_rotation_files.py::test_a_process_that_died_amid_a_rotation",
    ),
    Fault(
        "a rotation that failed leaves the new public key",
        "trust/rotation.py",
        "os.replace(written[2], public.path) if before else public.path.unlink()",
        "pass",
        "test_rotation_files.py::test_a_rename_that_fails_leaves_the_old_pair",
    ),
    Fault(
        "an interrupt takes the public file of the key in force back",
        "trust/rotation.py",
        "            if written[0].exists():  # otherwise",
        "            if True:  # otherwise",
        "test_rotation_files.py::test_ctrl_c_after_the_last_step_keeps_the_new_pair",
    ),
    Fault(
        "a new key is written in pieces after the old one is gone",
        "trust/rotation.py",
        ("                written.append(write_temporary(file))\n        try:"),
        (
            "                written.append(write_temporary(file))\n"
            "                if file is private:\n"
            "                    os.replace(written[0], private.path)\n"
            "                    written[0] = write_temporary(file)\n"
            "        try:"
        ),
        "test_rotation_files.py::test_all_of_it_is_on_disk_before_the_key_changes",
    ),
    Fault(
        "a start leaves the public file of a rotation that was interrupted",
        "app/own_key.py",
        "        _check_public_file(folder, passphrase, identity)\n",
        "",
        "test_rotation_files.py::test_a_process_that_died_amid_a_rotation",
    ),
    Fault(
        "a rotation under way is mended by a start",
        "trust/rotation.py",
        "    with locked_update(statements_path(directory, name)):  # otherwise a rotation may be under way\n",
        "    if True:\n",
        "test_rotation_files.py::test_a_rotation_under_way_is_not_mended",
    ),
    Fault(
        "a rotation replaces a link",
        "trust/rotation.py",
        "        if path.is_symlink():\n",
        "        if False:\n",
        "test_rotation_files.py::test_a_link_is_not_rotated",
    ),
    Fault(
        "links are looked for before the new key is made only",
        "trust/rotation.py",
        ("        _refuse_links(private_path, public_path)\n        _replace_pair("),
        "        _replace_pair(",
        "test_rotation_files.py::test_a_link_that_comes_meanwhile_is_not_replaced",
    ),
    Fault(
        "a statement is about a key that is not there any more",
        "trust/rotation.py",
        ("        _check_current(private_path, passphrase, old)\n        statements ="),
        "        statements =",
        "test_rotation_files.py::test_a_key_that_was_replaced_meanwhile_is_not_signed_away",
    ),
    Fault(
        "a rotation overwrites the key of another",
        "trust/rotation.py",
        ("        _check_current(private_path, passphrase, old)\n        if not exists"),
        "        if not exists",
        "test_rotation_files.py::test_a_key_that_was_replaced_meanwhile_is_not_signed_away",
    ),
    Fault(
        "a rotated key loses its passphrase",
        "trust/rotation.py",
        "new.to_pkcs8_pem(passphrase)",
        "new.to_pkcs8_pem()",
        "test_rotation_files.py::test_the_new_key_has_the_passphrase_of_the_old_one",
    ),
    Fault(
        "others can read the old private key",
        "trust/rotation.py",
        "NewFile(kept_private, content),",
        "NewFile(kept_private, content, PUBLIC_MODE),",
        "test_rotation_files.py::test_the_new_key_has_the_passphrase_of_the_old_one",
    ),
    Fault(
        "statements that have expired stay",
        "trust/rotation.py",
        "in statements if now < statement.expires]",
        "in statements]",
        "test_rotation_files.py::test_what_has_expired_goes_and_the_rest_is_bounded",
    ),
    Fault(
        "the file of statements has no bound",
        "trust/rotation.py",
        "msgspec.json.encode(statements[: 2 * MAX_ROTATIONS])",
        "msgspec.json.encode(statements)",
        "test_rotation_files.py::test_what_has_expired_goes_and_the_rest_is_bounded",
    ),
    Fault(
        "the newest statement is written last",
        "trust/rotation.py",
        "        statements += _valid(",
        "        statements[:0] = _valid(",
        "test_rotation_files.py::test_what_has_expired_goes_and_the_rest_is_bounded",
    ),
    Fault(
        "a statement that has expired is shown",
        "trust/rotation.py",
        "            if now < statement.expires:\n",
        "            if True:\n",
        "test_rotation_files.py::test_which_statements_are_shown",
    ),
    Fault(
        "a statement is shown alone, without those before it",
        "trust/rotation.py",
        "                key = signer\n",
        "",
        "test_rotation_files.py::test_which_statements_are_shown",
    ),
    Fault(
        "any number of statements is shown",
        "trust/rotation.py",
        "    for _ in range(MAX_ROTATIONS):\n",
        "    for _ in range(1000):\n",
        "test_rotation_files.py::test_which_statements_are_shown",
    ),
    Fault(
        "statements that others could change are shown",
        "trust/rotation.py",
        "_decode(read_trust_file(path), path)",
        '_decode(path.read_bytes() if path.exists() else b"", path)',
        "test_rotation_files.py::test_statements_that_others_can_change_are_refused",
    ),
    Fault(
        "a damaged file of statements is an empty one",
        "trust/rotation.py",
        ("    except msgspec.DecodeError as error:\n        raise KeyFileError("),
        (
            "    except msgspec.DecodeError as error:\n"
            "        return []\n"
            "        raise KeyFileError("
        ),
        "test_trust_rotation.py::test_what_is_damaged_is_said",
    ),
    Fault(
        "a second try finds the old key kept already and gives up",
        "trust/rotation.py",
        "        if not exists(kept_private):  # it is there if the last try failed after this step\n",
        "        if True:\n",
        "test_rotation_files.py::test_a_rename_that_fails_leaves_the_old_pair",
    ),
    Fault(
        "clients may follow for any time",
        "trust/rotation.py",
        "    if not 1 <= lifetime <= MAX_ROTATION_SECONDS:\n",
        "    if not lifetime:\n",
        "test_trust_rotation.py::test_what_is_damaged_is_said",
    ),
]
